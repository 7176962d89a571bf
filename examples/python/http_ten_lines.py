import json, sys, urllib.request as http  # noqa: E401

base, event = "http://127.0.0.1:8700", ""
body = json.dumps({"pool": "p", "inputs": sys.argv[1]}).encode()
job = json.load(http.urlopen(http.Request(f"{base}/v1/jobs", body, {"Content-Type": "application/json"})))
for line in http.urlopen(base + job["events"]):
    name, _, value = line.decode().rstrip("\n").partition(": ")
    event = value if name == "event" else event
    if name == "data" and event == "token" and "special" not in (token := json.loads(value)):
        print(token["t"], end="", flush=True)
sys.exit(None if event == "end" else f"\nit did not end well: the last event was {event}")
