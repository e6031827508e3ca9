"""Networks of ONNX files as functions of JAX, which can be differentiated.

    network = load("generator.onnx")
    network(w)

The package ``onnx`` reads the file: ``pip install 'mflows[onnx]'``.
"""

from mflows.pretrained.onnx.network import OnnxNetwork, load

__all__ = ["OnnxNetwork", "load"]
