"""Flags of `train.py` and `eval.py` for runs of several processes."""

from absl import flags

_COORDINATOR = flags.DEFINE_string(
    "coordinator", None, "HOST:PORT of process 0; schedulers that JAX knows need none."
)
_NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Processes of the run.")
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is.")


def join() -> bool:
    """Join the other processes, if there are any; see `processes.start`.

    Returns:
      Whether this is the one that reports.

    Raises:
      ValueError: if the flags are incomplete, or the others cannot be reached.
    """
    # Starts JAX, which `--help` need not.
    from logocap_jax import processes

    several = processes.start(
        _COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value
    )
    return not several or processes.is_first()
