"""Makes the golden files of this folder anew. Needs the extra `golden` (torch, torchvision); no test does.

    python tests/models/golden/make.py

Writes
- `tiny_*.pth`, `tiny.safetensors`, `tiny.npz`: a small module as torch itself saves it, and its numbers,
- `torchvision.json`: what torchvision states of the weights that it publishes, and the shapes in its state dicts,
- `logits.npz`: every tenth logit of torchvision's networks with the weights and images of `formula.py`.

torchvision beside a torch built for CPU alone stops at `import` ("operator torchvision::nms does not exist"): its
compiled operators do not load, and it describes them to the compiler of torch. None is needed here, so descriptions of
operators of torchvision's are left out.
"""

import json
from pathlib import Path

import formula
import numpy as np
import torch
import torch.library
from safetensors.torch import save_file

HERE = Path(__file__).parent
PUBLISHED = ("alexnet", "vgg11", "vgg13", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "googlenet")
COMPUTED = ("alexnet", "vgg11", "vgg13", "resnet18", "resnet34", "resnet50", "googlenet")


def import_torchvision():
    describe = torch.library.register_fake

    def unless_of_torchvision(operator, *args, **kwargs):
        if isinstance(operator, str) and operator.startswith("torchvision::"):
            return lambda function: function
        return describe(operator, *args, **kwargs)

    torch.library.register_fake = unless_of_torchvision
    try:
        from torchvision import models
    finally:
        torch.library.register_fake = describe
    return models


def tiny():
    torch.manual_seed(0)
    module = torch.nn.Sequential()
    module.add_module("conv", torch.nn.Conv2d(3, 4, 3, bias=False))
    module.add_module("bn", torch.nn.BatchNorm2d(4))
    module.add_module("depthwise", torch.nn.Conv2d(4, 4, 3, groups=4))
    module.add_module("fc", torch.nn.Linear(4, 2))
    state = module.state_dict()
    with torch.no_grad():
        for name in ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var"):
            state[name].uniform_(0.5, 1.5)
    torch.save(state, HERE / "tiny_zip.pth")
    torch.save(state, HERE / "tiny_legacy.pth", _use_new_zipfile_serialization=False)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, HERE / "tiny_wrapped.pth")
    # The same numbers as views: transposed, in the middle of a larger storage, as parameters; and in 16 bits.
    odd = {name: torch.nn.Parameter(value.half()) for name, value in state.items() if value.is_floating_point()}
    odd["conv.weight"] = state["conv.weight"].permute(3, 1, 2, 0).contiguous().permute(3, 1, 2, 0)
    odd["fc.weight"] = torch.cat([torch.ones(1, 4), state["fc.weight"], torch.ones(3, 4)])[1:3]
    odd["fc.bias"] = state["fc.bias"].bfloat16()
    torch.save(odd, HERE / "tiny_views.pth")
    torch.save(odd, HERE / "tiny_views_legacy.pth", _use_new_zipfile_serialization=False)
    save_file({name: value.contiguous() for name, value in state.items()}, HERE / "tiny.safetensors")
    np.savez(HERE / "tiny.npz", **{name: value.numpy() for name, value in state.items()})


def stated(models, name):
    weights = models.get_model_weights(name).IMAGENET1K_V1
    top1, top5 = (weights.meta["_metrics"]["ImageNet-1K"][key] for key in ("acc@1", "acc@5"))
    return {"url": weights.url, "mebibytes": weights.meta["_file_size"], "top1": top1, "top5": top5}


def main():
    models = import_torchvision()
    tiny()
    about = {"published": {name: stated(models, name) for name in PUBLISHED}, "shapes": {}}
    mean, std = np.float32([0.485, 0.456, 0.406]), np.float32([0.229, 0.224, 0.225])
    x = torch.from_numpy(((formula.images() / 255 - mean) / std).transpose(0, 3, 1, 2))
    logits = {}
    for name in COMPUTED:
        # As with its published weights: input turned to [-1, 1] inside, auxiliary classifiers in the file.
        options = {"transform_input": True, "aux_logits": True, "init_weights": False} if name == "googlenet" else {}
        model = models.get_model(name, weights=None, **options).eval()
        shapes = {key: list(value.shape) for key, value in model.state_dict().items()}
        model.load_state_dict({key: torch.from_numpy(value) for key, value in formula.state_dict(shapes).items()})
        with torch.no_grad():
            result = model(x).numpy()
        if np.abs(result[0] - result[1]).mean() < 0.1 or np.abs(result).max() > 50:
            raise SystemExit(f"{name} says too little: logits from {result.min()} to {result.max()}")
        logits[name] = result[:, ::10]
        about["shapes"][name] = shapes
    (HERE / "torchvision.json").write_text(json.dumps(about, separators=(",", ":")) + "\n")
    np.savez_compressed(HERE / "logits.npz", **logits)


if __name__ == "__main__":
    main()
