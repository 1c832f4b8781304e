"""What snnhw hands on to other tools: NIR files, lava-dl's .net, ONNX."""
