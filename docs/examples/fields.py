"""Print fields of the JSON on standard input, for walk.sh: fields.py NAME.NAME ..."""

import json
import sys

value = json.load(sys.stdin)
for path in sys.argv[1:]:
    field = value
    for name in path.split("."):
        field = field[int(name) if name.isdigit() else name]
    print(field)
