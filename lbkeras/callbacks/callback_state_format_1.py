"""Reads the states of callbacks in checkpoints of lbkeras 0.1.0."""


def from_format_1(states: list[dict], names: list[str]) -> list[dict]:
    """Converts states that lbkeras 0.1.0 wrote to the current format.

    Args:
        states: one per callback: attribute -> a number, string, None, or list or dict of them;
            `{"arrays": n}` is a list of arrays, `{"callback": state}` another callback.
        names: names of the checkpoint's arrays.
    """
    return [_from_format_1(state, f"callback/{i}", names) for i, state in enumerate(states)]


def _from_format_1(state: dict, where: str, names: list[str]) -> dict:
    def value_of(value, place):
        if isinstance(value, list):
            return {"list": [value_of(each, place) for each in value]}
        if not isinstance(value, dict):
            return value
        if set(value) == {"arrays"}:
            return {"list": [{"array": f"{place}/{i}"} for i in range(value["arrays"])]}
        if set(value) == {"callback"}:
            return {"callback": _from_format_1(value["callback"], place, names)}
        return {"dict": [[key, value_of(each, place)] for key, each in value.items()]}

    attributes = {name: value_of(value, f"{where}/{name}") for name, value in state.items()}
    variables = [name for name in names if name.startswith(f"{where}/variable/")]
    variables.sort(key=lambda name: int(name.rpartition("/")[2]))
    return {"attributes": attributes} | ({"variables": variables} if variables else {})
