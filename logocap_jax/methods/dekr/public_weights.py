"""Published weights of DEKR."""

from functools import partial

from logocap_jax.public_weights import PublicWeights, of_mmpose

_COCO = "v1/body_2d_keypoint/dekr/coco/"
_CROWDPOSE = "v1/body_2d_keypoint/dekr/crowdpose/"
_OLDER = "bottom_up/dekr/"
_NEW = partial(of_mmpose, decoder="mmpose")
_OLD = partial(of_mmpose, decoder="mmpose_0x")
_OFFICIAL = partial(
    PublicWeights,
    licence="MIT (the code)",
    source="the cloud folder that the README of HRNet/DEKR on GitHub links to",
)
_W32_COCO, _W48_COCO = ("HRNet-W32", "COCO", 512), ("HRNet-W48", "COCO", 640)
_W32_CROWDPOSE = ("HRNet-W32", "CrowdPose", 512)
_W48_CROWDPOSE = ("HRNet-W48", "CrowdPose", 640)

PUBLIC: dict[str, PublicWeights] = {
    "dekr_w32_coco": _NEW(
        f"{_COCO}dekr_hrnet-w32_8xb10-140e_coco-512x512_ac7c17bf-20221228.pth",
        *(*_W32_COCO, "68.6"),
    ),
    "dekr_w48_coco": _NEW(
        f"{_COCO}dekr_hrnet-w48_8xb10-140e_coco-640x640_74796c32-20230124.pth",
        *(*_W48_COCO, "71.4"),
    ),
    "dekr_w32_crowdpose": _NEW(
        f"{_CROWDPOSE}dekr_hrnet-w32_8xb10-300e_crowdpose-512x512"
        "_147bae97-20221228.pth",
        *(*_W32_CROWDPOSE, "66.3"),
    ),
    "dekr_w48_crowdpose": _NEW(
        f"{_CROWDPOSE}dekr_hrnet-w48_8xb5-300e_crowdpose-640x640_4ea6031e-20230128.pth",
        *(*_W48_CROWDPOSE, "67.9"),
    ),
    "dekr_w32_coco_0x": _OLD(
        f"{_OLDER}hrnet_w32_coco_512x512-2a3056de_20220928.pth", *(*_W32_COCO, "68.0")
    ),
    "dekr_w48_coco_0x": _OLD(
        f"{_OLDER}hrnet_w48_coco_640x640-8854b2f1_20220930.pth", *(*_W48_COCO, "70.9")
    ),
    "dekr_w32_crowdpose_0x": _OLD(
        f"{_OLDER}hrnet_w32_crowdpose_512x512-685aff75_20220924.pth",
        *(*_W32_CROWDPOSE, "66.3"),
    ),
    "dekr_w48_crowdpose_0x": _OLD(
        f"{_OLDER}hrnet_w48_crowdpose_640x640-ef6b6040_20220930.pth",
        *(*_W48_CROWDPOSE, "68.2"),
    ),
    "dekr_w32_coco_official": _OFFICIAL(
        *_W32_COCO, "pose_dekr_hrnetw32_coco.pth", "68.0"
    ),
    "dekr_w48_coco_official": _OFFICIAL(
        *_W48_COCO, "pose_dekr_hrnetw48_coco.pth", "71.0"
    ),
}
