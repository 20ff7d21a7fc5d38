"""What all configs share; the values are the reference's for W32 on COCO."""

from ml_collections import ConfigDict

from logocap_jax.methods import default_settings


def get_config(method: str = "logocap") -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.method = ConfigDict({"name": method, **default_settings(method)})

    config.data = ConfigDict()
    config.data.dir = ""  # COCO's layout, or what `logocap prepare coco` wrote
    config.data.train_split = "train"
    config.data.eval_split = "val"
    config.data.input_size = 512
    config.data.max_people = 30
    config.data.num_workers = 0
    config.data.stall_s = 45.0  # without a batch from the workers: the run ends
    config.data.max_bad_records = 0  # unreadable ones to replace, in each process
    config.data.augmentation = ConfigDict(
        {
            "rotation_deg": 30.0,
            "scale_min": 0.75,
            "scale_max": 1.5,
            "translation": 40.0,
            "mirror": 0.5,
        }
    )

    config.init_from = ""  # weights to start from: PyTorch's, or ours; see init_from.py
    config.batch_size = 48  # global; the reference: 12 on each of 4 GPUs
    config.epochs = 140.0
    config.accumulate = 1  # parts that a batch goes through the network in
    config.optimizer = "adam"  # or "adamw", "lamb"
    config.weight_decay = 0.0  # of AdamW and LAMB; kernels only
    config.clip_norm = 0.0  # largest global norm of a gradient; 0: any
    config.ema_decay = 0.0  # of the weights' moving average; 0: none is kept
    config.max_skipped_in_row = 10  # steps that are not finite, before a run stops
    config.learning_rate = 1e-3
    config.lr_scaling = "none"  # or "linear", "sqrt": in batch_size / lr_base_batch
    config.lr_base_batch = 48
    config.lr_milestones = (90.0, 120.0)
    config.lr_decay = 0.1
    config.lr_warmup = 0.0
    config.log_every = 50  # steps
    config.eval_every = 10.0  # epochs
    config.checkpoint_every = 1.0  # epochs

    config.eval = ConfigDict()
    config.eval.short_side = 512
    config.eval.batch_size = 16
    return config.lock()
