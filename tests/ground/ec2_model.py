"""Says what EC2's own model has against the input of one of its operations.

    ec2_model.py OPERATION <input.json

Prints one line per objection and ends with 1 when there is one. botocore checks names, types and what is required; here
enumerations, patterns and lengths are looked at too, which the service checks and moto does not.
"""

import json
import re
import sys

import botocore.session
from botocore.validate import ParamValidator


def objections(value, shape, where):
    """What the constraints of `shape` say against `value`."""
    if shape.type_name == "structure":
        for name, member in shape.members.items():
            if name in value:
                yield from objections(value[name], member, f"{where}.{name}")
    elif shape.type_name == "list":
        for index, item in enumerate(value):
            yield from objections(item, shape.member, f"{where}[{index}]")
    elif shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            yield f"{where}: {value!r} is none of {shape.enum}"
        if (pattern := shape.metadata.get("pattern")) and not re.fullmatch(pattern, value):
            yield f"{where}: {value!r} is not {pattern}"
        if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", sys.maxsize):
            yield f"{where}: {value!r} has the wrong length"
    elif shape.type_name == "integer":
        if not shape.metadata.get("min", -sys.maxsize) <= value <= shape.metadata.get("max", sys.maxsize):
            yield f"{where}: {value} is out of range"


def main():
    model = botocore.session.get_session().get_service_model("ec2")
    shape = model.operation_model(sys.argv[1]).input_shape
    value = json.load(sys.stdin)
    report = ParamValidator().validate(value, shape)
    found = [report.generate_report()] if report.has_errors() else list(objections(value, shape, sys.argv[1]))
    print("\n".join(found))
    sys.exit(1 if found else 0)


if __name__ == "__main__":
    main()
