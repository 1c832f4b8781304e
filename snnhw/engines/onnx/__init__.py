"""The integer step as one ONNX graph of standard operators, and the engine that runs it in onnxruntime."""
