"""Prints the Swift table of resized pictures that MediaTests compares with (red channel, Pillow)."""
import numpy as np
from PIL import Image, __version__

y, x, c = np.meshgrid(np.arange(6), np.arange(8), np.arange(3), indexing="ij")
source = ((x * 37 + y * 91 + c * 50 + x * y * 3) % 256).astype(np.uint8)
methods = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC,
           "area": Image.Resampling.BOX, "nearest": Image.Resampling.NEAREST}
print(f"// Made by Tests/Parity/make_resize_fixtures.py with Pillow {__version__}.")
print("import Media\n")
print("/// A resized picture's red channel as Pillow makes it.")
print("struct PillowCase: Sendable {")
print("    var method: Resampling\n    var width: Int\n    var height: Int\n    var red: [UInt8]\n")
print("    static let all: [PillowCase] = [")
for name, method in methods.items():
    # 13 x 9 has ties, which Pillow's nearest decides by accumulated rounding errors.
    for width, height in [(4, 3), (13, 7 if name == "nearest" else 9), (5, 6), (1, 1)]:
        out = np.asarray(Image.fromarray(source).resize((width, height), method))[..., 0].ravel()
        print(f"        PillowCase(\n            method: .{name}, width: {width}, height: {height},\n            red: [")
        for start in range(0, len(out), 20):
            print("                " + ", ".join(map(str, out[start:start + 20])) + ",")
        print("            ]),")
print("    ]\n}")
