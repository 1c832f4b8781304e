"""ONNX: ReLU networks to convert, and one step of spiking networks."""
