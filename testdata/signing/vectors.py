"""Checks the signature vectors of this folder, or fills them in (--update).

Written apart from the Go code, on hashlib and hmac alone, so that the two can
be held against each other.
"""

import hashlib
import hmac
import json
import pathlib
import sys


def signed_string(fields, key):
    names = sorted((n for n, v in fields.items() if v != "" and n != "sign"), key=str.encode)
    return "&".join([f"{n}={fields[n]}" for n in names] + [f"key={key}"])


def sign(fields, key, sign_type):
    data = signed_string(fields, key).encode()
    if sign_type == "MD5":
        return hashlib.md5(data).hexdigest().upper()
    return hmac.new(key.encode(), data, hashlib.sha256).hexdigest().upper()


def verify(fields, key, sign_type):
    got = fields.get("sign", "")
    if not got:
        return "missing"
    length = {"MD5": 32, "HMAC-SHA256": 64}
    if len(got) != length[sign_type]:
        return "type" if len(got) in length.values() else "mismatch"
    return "valid" if hmac.compare_digest(got.encode(), sign(fields, key, sign_type).encode()) else "mismatch"


def main():
    update = sys.argv[1:] == ["--update"]
    count = bad = 0
    for path in sorted(pathlib.Path(__file__).parent.glob("*.json")):
        document = json.loads(path.read_text())
        for v in document["vectors"]:
            count += 1
            args = v["fields"], v["key"]
            computed = {
                "string": signed_string(*args),
                "sign": sign(*args, v["sign_type"]),
                "verify": verify(*args, v["sign_type"]),
            }
            if update and path.name != "documentation.json":
                v.update(computed)
            for member, value in computed.items():
                if v.get(member) != value:
                    bad += 1
                    print(f"{path.name}: {v['name']}: {member} is {v.get(member)!r}, computed {value!r}")
        if update:
            path.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    print(f"{count} vectors, {bad} wrong")
    sys.exit(1 if bad or not count else 0)


main()
