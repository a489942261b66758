"""Times timm's LARS in PyTorch for bench_optimizers.py, in an environment that has both.

Reads one line of JSON (`shapes`, `learning_rate`, `weight_decay`) and answers with the versions.
Then answers each line with a number of updates and a number of threads with the seconds per update.
Weights and gradients are as in bench_optimizers.py; variables of rank <= 1 are neither decayed nor
scaled.
"""

import importlib.metadata
import importlib.util
import json
import sys
import time
import types


def timm_optimizer(name: str):
    """Imports a class of timm.optim without timm, which needs a torchvision that fits torch."""
    if "timm" not in sys.modules:
        spec = importlib.util.find_spec("timm")
        if spec is None:
            raise ImportError("no module named timm", name="timm")
        for package, folder in (("timm", ""), ("timm.optim", "/optim")):
            sys.modules[package] = types.ModuleType(package)
            places = [place + folder for place in spec.submodule_search_locations]
            sys.modules[package].__path__ = places
    return getattr(importlib.import_module(f"timm.optim.{name.lower()}"), name)


def main():
    settings = json.loads(sys.stdin.readline())
    try:
        import torch

        Lars = timm_optimizer("Lars")
    except ImportError as error:
        print(json.dumps({"missing": error.name or str(error)}), flush=True)
        return
    torch.manual_seed(0)
    parameters = [torch.nn.Parameter(0.05 * torch.randn(shape)) for shape in settings["shapes"]]
    for parameter in parameters:
        parameter.grad = 1e-3 * torch.randn_like(parameter)
    decay = settings["weight_decay"]
    decayed = {"params": [p for p in parameters if p.ndim > 1], "weight_decay": decay}
    others = {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}

    optimizer = Lars([decayed, others], settings["learning_rate"], 0.9)
    versions = {name: importlib.metadata.version(name) for name in ("torch", "timm")}
    print(json.dumps(versions), flush=True)
    for line in sys.stdin:
        steps, threads = map(int, line.split())
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        print((time.perf_counter() - begin) / steps, flush=True)


if __name__ == "__main__":
    main()
