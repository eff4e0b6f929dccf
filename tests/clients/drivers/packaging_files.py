"""Looks through the files of packaging/: what they name is there, and what they set spanhouse takes.

Usage: packaging_files.py PROGRAM FOLDER (spanhouse, and packaging/)
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import yaml
from checks import check, finish

PROGRAM, FOLDER = sys.argv[1], Path(sys.argv[2])
LISTENERS = {"otlp-grpc": 4317, "otlp-http": 4318, "postgres": 5433, "admin": 9464}


def settings_hold(where, variables):
    """Asks the program itself about variables."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SPANHOUSE_")}
    ours = {name: value for name, value in variables.items() if name.startswith("SPANHOUSE_")}
    assert ours, where
    ran = subprocess.run([PROGRAM, "config", "check"], env=plain | ours, capture_output=True, text=True, cwd="/")
    check(f"{where}: settings", (ran.returncode, ran.stderr if ran.returncode else ""), (0, ""))
    mistaken = subprocess.run([PROGRAM, "config", "check"], env=plain | ours | {"SPANHOUSE_NO_SUCH": "x"}, capture_output=True, cwd="/")
    check(f"{where}: a setting that there is none of", mistaken.returncode, 2)


def dockerfile():
    text = (FOLDER / "Dockerfile").read_text()
    joined = re.sub(r"\\\n", " ", "\n".join(line for line in text.splitlines() if not line.startswith("#")))
    lines = [line.split(None, 1) for line in joined.splitlines() if line.strip()]
    known = {"FROM", "WORKDIR", "COPY", "ARG", "RUN", "USER", "ENV", "VOLUME", "EXPOSE", "STOPSIGNAL", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
    check("Dockerfile: instructions", [word for word, _ in lines if word not in known], [])
    stages = [match.group(1) for word, rest in lines if word == "FROM" and (match := re.search(r" AS (\w+)$", rest))]
    copied = re.findall(r"--from=(\S+)", joined)
    check("Dockerfile: stages", [stage for stage in copied if stage not in stages], [])
    last = lines[max(at for at, (word, _) in enumerate(lines) if word == "FROM") :]
    said = {word: rest for word, rest in last}
    check("Dockerfile: not root", said["USER"].split(":")[0] not in ("root", "0"), True)
    check("Dockerfile: ports", {int(port) for port in said["EXPOSE"].split()}, set(LISTENERS.values()))
    for instruction in ("HEALTHCHECK", "CMD"):
        command = re.findall(r'"([^"]+)"', said[instruction])
        command = [word for word in command if word != "spanhouse"]
        ran = subprocess.run([PROGRAM, *command, "--help"], capture_output=True)
        check(f"Dockerfile: {instruction} is a command", ran.returncode, 0)
    variables = dict(pair.split("=", 1) for pair in said["ENV"].split())
    settings_hold("Dockerfile", variables | {"SPANHOUSE_PLAINTEXT": "anywhere"})
    return variables


def compose(image):
    file = yaml.safe_load((FOLDER / "compose.yaml").read_text())
    services, volumes = file["services"], file["volumes"]
    for name, service in services.items():
        check(f"compose: {name} has an image or a build", "image" in service or "build" in service, True)
        check(f"compose: ports of {name} are this machine's", [port for port in service["ports"] if not port.startswith("127.0.0.1:")], [])
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            check(f"compose: {source}", source in volumes or (FOLDER / source).exists(), True)
        for other, on in service.get("depends_on", {}).items():
            check(f"compose: {name} waits for {other}", (other in services, on["condition"]), (True, "service_healthy"))
    build = services["spanhouse"]["build"]
    check("compose: the Dockerfile", (FOLDER / build["context"] / build["dockerfile"]).exists(), True)
    settings_hold("compose", image | services["spanhouse"]["environment"])
    collector = yaml.safe_load((FOLDER / "collector.yaml").read_text())
    kinds = ("receivers", "processors", "exporters")
    for pipeline in collector["service"]["pipelines"].values():
        for kind in kinds:
            check(f"collector: {kind}", [part for part in pipeline[kind] if part not in collector[kind]], [])
    check("collector: extensions", [part for part in collector["service"]["extensions"] if part not in collector["extensions"]], [])
    exporter = next(iter(collector["exporters"].values()))
    host, port = exporter["endpoint"].split(":")
    check("collector: sends to the other service", (host in services, int(port)), (True, LISTENERS["otlp-grpc"]))


def kubernetes(image):
    objects = [part for part in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()) if part]
    for part in objects:
        check(f"kubernetes: {part['kind']} {part['metadata']['name']}", part["apiVersion"], {"Service": "v1", "StatefulSet": "apps/v1"}[part["kind"]])
    (stateful,) = [part for part in objects if part["kind"] == "StatefulSet"]
    services = {part["metadata"]["name"]: part["spec"] for part in objects if part["kind"] == "Service"}
    spec, pod = stateful["spec"], stateful["spec"]["template"]
    labels = pod["metadata"]["labels"]
    check("kubernetes: selector", spec["selector"]["matchLabels"], labels)
    check("kubernetes: its service is headless", services[spec["serviceName"]]["clusterIP"], "None")
    (container,) = pod["spec"]["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    check("kubernetes: ports", ports, LISTENERS)
    for name, service in services.items():
        check(f"kubernetes: {name} selects", service["selector"], labels)
        check(f"kubernetes: ports of {name}", [port["name"] for port in service["ports"] if ports.get(port["targetPort"]) != port["port"]], [])
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        check(f"kubernetes: {probe}", container[probe]["httpGet"], {"path": path, "port": "admin"})
    there = {volume["name"] for volume in pod["spec"]["volumes"]} | {claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]}
    check("kubernetes: volumes", {mount["name"] for mount in container["volumeMounts"]}, there)
    security = pod["spec"]["securityContext"] | container["securityContext"]
    check("kubernetes: not root", (security["runAsNonRoot"], security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"]), (True, False, True))
    settings_hold("kubernetes", image | {entry["name"]: entry["value"] for entry in container["env"]})


def unit():
    text = (FOLDER / "spanhouse.service").read_text()
    variables = dict(line.removeprefix("Environment=").split("=", 1) for line in text.splitlines() if line.startswith("Environment="))
    settings_hold("systemd", variables)
    (start,) = [line.removeprefix("ExecStart=") for line in text.splitlines() if line.startswith("ExecStart=")]
    ran = subprocess.run([PROGRAM, *start.split()[1:], "--help"], capture_output=True)
    check("systemd: ExecStart is a command", ran.returncode, 0)


image = dockerfile()
compose(image)
kubernetes(image)
unit()
finish("packaging")
