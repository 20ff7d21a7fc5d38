"""Functions of JAX as ONNX models.

JAX traces a function to equations (a jaxpr); each becomes a few nodes of ONNX. What no
input reaches, such as folded batch norms, is computed once and stored.

jax2onnx 0.17.1 was tried: it asks for an Orbax older than this project's, and stops at
the resizing inside HRNet.
"""

from logocap_jax.export.to_onnx.convert import to_onnx

__all__ = ["to_onnx"]
