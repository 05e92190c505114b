"""The manifests: against Kubernetes' schemas, against one another, and against the rules that they keep."""

from __future__ import annotations

import json
import re
import subprocess
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from api.security.access import ROUTE_SCOPES
from api.settings import Settings
from api.settings_load import SECRETS, VARIABLES, load_settings
from pipeline.software import VERSION
from tests.rendered import KUBERNETES, OVERLAYS, named, pods, rendered, settings
from ui.settings import load_ui_settings

OURS = "audio-pipeline"
VERSIONS = ("1.30", "1.37")
PLAIN = {"v1", "apps/v1", "batch/v1", "policy/v1", "autoscaling/v2", "networking.k8s.io/v1"}
EXTENSIONS = {
    "gateway.networking.k8s.io/v1": {"Gateway", "HTTPRoute"},
    "monitoring.coreos.com/v1": {"ServiceMonitor"},
    "keda.sh/v1alpha1": {"ScaledObject"},
}
GATEWAY_API = KUBERNETES.parents[1] / "tests" / "repo" / "gateway_api"
_OF_THE_IMAGE = {"UI_HOST", "UI_PORT"}
pytestmark = pytest.mark.parametrize("overlay", OVERLAYS)


def everywhere(value: Any, key: str) -> list[Any]:
    """Whatever stands under a key, at any depth."""
    if isinstance(value, dict):
        found = [value[key]] if key in value else []
        return found + [one for part in value.values() for one in everywhere(part, key)]
    return [one for part in value for one in everywhere(part, key)] if isinstance(value, list) else []


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_object(overlay: str, version: str) -> None:
    checked = 0
    for one in rendered(overlay):
        if one["apiVersion"] in PLAIN:
            kubernetes_validate.validate(one, version, strict=True)
            checked += 1
        else:
            assert one["kind"] in EXTENSIONS[one["apiVersion"]]
    assert checked >= 15


def test_the_gateway_api_takes_every_object_of_its_kinds(overlay: str) -> None:
    for one in rendered(overlay):
        path = GATEWAY_API / f"{one['kind']}.json"
        if path.exists():
            schema = json.loads(path.read_text())
            jsonschema.validate(one, schema)
            assert _unknown(one["spec"], schema["properties"]["spec"]) == []


def _unknown(value: Any, schema: Any) -> list[str]:
    """Fields that no cluster would keep, because their kind has none of that name."""
    if isinstance(value, list):
        return [name for part in value for name in _unknown(part, schema["items"])]
    known = schema.get("properties")
    if not isinstance(value, dict) or known is None:
        return []
    return [
        name
        for key, part in value.items()
        for name in ([key] if key not in known else _unknown(part, known[key]))
    ]


def test_every_object_is_in_the_namespace_and_there_is_one_of_its_name(overlay: str) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(overlay)]
    assert len(names) == len(set(names))
    assert {one["metadata"].get("namespace") for one in rendered(overlay) if one["kind"] != "Namespace"} == {
        OURS
    }
    labels = named(overlay, "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_no_secret_is_kept_in_the_repository(overlay: str) -> None:
    assert not [one for one in rendered(overlay) if one["kind"] == "Secret"]
    data = settings(overlay)
    assert not [name for name in data if VARIABLES.get(name) in SECRETS]


def test_every_setting_is_one_that_there_is_and_good(overlay: str) -> None:
    data = settings(overlay)
    files = {name: value for name, value in data.items() if name.endswith("_FILE")}
    assert all(name.removesuffix("_FILE") in VARIABLES for name in files)
    made = yaml.safe_load(_made_secrets())["stringData"]
    values = {name.removesuffix("_FILE"): made[value.rpartition("/")[2]] for name, value in files.items()}
    known = load_settings({name: value for name, value in data.items() if name not in files} | values)
    assert isinstance(known, Settings)
    assert {name for name in data if name not in VARIABLES} == set(files)
    ui = named(overlay, "ConfigMap", "ui-config")["data"]
    load_ui_settings({name: value for name, value in ui.items() if name not in _OF_THE_IMAGE})
    for pod in pods(overlay):
        for container in pod.containers:
            for variable in container.get("env", []):
                assert container["image"].split(":")[0] != OURS or variable["name"] in VARIABLES


def test_pods_keep_to_the_restricted_standard(overlay: str) -> None:
    for pod in pods(overlay):
        security = pod.spec["securityContext"]
        assert security["runAsNonRoot"] and security["runAsUser"] > 0, pod.name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, pod.name
        assert pod.spec["automountServiceAccountToken"] is False, pod.name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), pod.name
        assert not [volume for volume in pod.spec["volumes"] if "hostPath" in volume], pod.name
        for container in pod.containers:
            own = container["securityContext"]
            assert own["allowPrivilegeEscalation"] is False, pod.name
            assert own["readOnlyRootFilesystem"] is True, pod.name
            assert own["capabilities"] == {"drop": ["ALL"]}, pod.name


def test_every_container_states_what_it_needs_and_what_it_may_have(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            needs = container["resources"]
            for resource in ("cpu", "memory", "ephemeral-storage"):
                assert needs["requests"][resource] and needs["limits"][resource], pod.name
        assert all(v["emptyDir"].get("sizeLimit") for v in pod.spec["volumes"] if "emptyDir" in v), pod.name
    runs_jobs = {"single": "Deployment api"}.get(overlay, "Deployment worker")
    (busy,) = [pod for pod in pods(overlay) if pod.name == runs_jobs]
    needs = busy.spec["containers"][0]["resources"]
    assert {**needs["requests"], "cpu": "2", "memory": "4Gi"} == needs["requests"]
    assert {**needs["limits"], "cpu": "4", "memory": "8Gi"} == needs["limits"]


def test_images_have_versions_and_ours_is_this_one(overlay: str) -> None:
    for pod in pods(overlay):
        for container in pod.containers:
            name, _, tag = container["image"].partition(":")
            assert re.fullmatch(r"\d+\.\d+[\w.-]*|\d+-alpine", tag), container["image"]
            if name == OURS:
                assert tag.removesuffix("-cuda") == VERSION


def test_whatever_is_asked_can_be_asked(overlay: str) -> None:
    """Probes and ports: of the routes that there are, by the names that there are."""
    for pod in pods(overlay):
        for container in pod.spec["containers"]:
            ports = {port["name"] for port in container.get("ports", [])}
            if not ports:
                continue
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                probe = container[kind]
                assert set(everywhere(probe, "port")) <= ports, pod.name
                for path in everywhere(probe, "path"):
                    assert f"GET {path}" in ROUTE_SCOPES or path == "/_stcore/health"
            if pod.name == "Deployment api":
                paths = [
                    container[k]["httpGet"]["path"]
                    for k in ("startupProbe", "livenessProbe", "readinessProbe")
                ]
                assert paths == ["/livez", "/livez", "/readyz"]


def test_services_routes_and_budgets_find_their_pods(overlay: str) -> None:
    found = list(pods(overlay))

    def matching(selector: dict[str, str]) -> list[Any]:
        return [pod for pod in found if selector.items() <= pod.labels.items()]

    services = {one["metadata"]["name"]: one for one in rendered(overlay) if one["kind"] == "Service"}
    for name, service in services.items():
        (pod,) = matching(service["spec"]["selector"])
        names = {port["name"] for container in pod.spec["containers"] for port in container["ports"]}
        assert {port["targetPort"] for port in service["spec"]["ports"]} <= names, name
    for one in rendered(overlay):
        if one["kind"] == "HTTPRoute":
            for backend in [b for refs in everywhere(one, "backendRefs") for b in refs]:
                assert backend["port"] in [p["port"] for p in services[backend["name"]]["spec"]["ports"]]
        if one["kind"] in ("PodDisruptionBudget", "Deployment", "StatefulSet"):
            assert len(matching(one["spec"]["selector"]["matchLabels"])) == 1, one["metadata"]["name"]
        if one["kind"] in ("HorizontalPodAutoscaler", "ScaledObject"):
            assert named(overlay, "Deployment", one["spec"]["scaleTargetRef"]["name"])
        if one["kind"] == "NetworkPolicy":
            parts = {*_components(one), *{pod.labels["app.kubernetes.io/component"] for pod in found}}
            assert parts <= {"api", "ui", "worker", "backup", "postgres", "redis"}


def _components(policy: Any) -> set[str]:
    named_ = set(everywhere(policy, "app.kubernetes.io/component"))
    return named_ | {value for values in everywhere(policy, "values") for value in values}


def test_volumes_configmaps_and_keys_of_the_secret_are_there(overlay: str) -> None:
    there = {(one["kind"], one["metadata"]["name"]) for one in rendered(overlay)}
    secret = yaml.safe_load(_made_secrets())
    assert secret["metadata"] == {"name": "pipeline-secrets", "namespace": OURS}
    for pod in pods(overlay):
        mounted = {mount["name"] for container in pod.containers for mount in container["volumeMounts"]}
        own = {"StatefulSet postgres": {"database"}, "StatefulSet redis": {"data"}}.get(pod.name, set())
        assert mounted == {volume["name"] for volume in pod.spec["volumes"]} | own, pod.name
        assert {("PersistentVolumeClaim", n) for n in everywhere(pod.spec, "claimName")} <= there
        assert set(everywhere(pod.spec, "secretName")) <= {"pipeline-secrets"}
        maps = [
            ref["name"] for ref in everywhere(pod.spec, "configMapRef") + everywhere(pod.spec, "configMap")
        ]
        assert {("ConfigMap", name) for name in maps} <= there
        for item in [item for items in everywhere(pod.spec, "items") for item in items]:
            assert item["key"] in secret["stringData"]


def test_a_stop_leaves_time_to_hand_jobs_back(overlay: str) -> None:
    grace = float(settings(overlay)["PIPELINE_GRACE_S"])
    for pod in pods(overlay):
        if pod.name in ("Deployment api", "Deployment worker"):
            pauses = [float(command[1]) for command in everywhere(pod.spec["containers"], "command")]
            assert pod.spec["terminationGracePeriodSeconds"] >= grace + 5 + sum(pauses) + 10


def test_nothing_reaches_anything_unless_it_is_said(overlay: str) -> None:
    closed = named(overlay, "NetworkPolicy", "deny-all")["spec"]
    assert closed == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_the_way_in_hides_the_figures_and_ends_plain_http(overlay: str) -> None:
    rules = {
        next(iter(everywhere(rule.get("backendRefs", []), "name")), "hidden"): rule
        for rule in named(overlay, "HTTPRoute", "site")["spec"]["rules"]
    }
    assert rules.keys() == {"hidden", "api", "ui"}
    hidden = {match["path"]["value"] for match in rules["hidden"]["matches"]}
    assert {"/api/metrics", "/api/api", "/_stcore/metrics"} <= hidden
    rewrite = {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}
    assert everywhere(rules["api"], "urlRewrite") == [{"path": rewrite}]
    assert rules["api"]["matches"][0]["path"]["value"] == settings(overlay)["PIPELINE_ROOT_PATH"]
    listeners = {one["name"]: one for one in named(overlay, "Gateway")["spec"]["listeners"]}
    assert everywhere(named(overlay, "HTTPRoute", "to-https"), "scheme") == ["https"]
    for route in ("to-https", "site"):
        (parent,) = named(overlay, "HTTPRoute", route)["spec"]["parentRefs"]
        assert parent["sectionName"] in listeners


def test_one_pod_has_sqlite_to_itself_and_many_have_postgresql(overlay: str) -> None:
    api, data = named(overlay, "Deployment", "api")["spec"], settings(overlay)
    claims = [one["spec"] for one in rendered(overlay) if one["kind"] == "PersistentVolumeClaim"]
    if overlay == "single":
        assert (api["replicas"], api["strategy"]) == (1, {"type": "Recreate"})
        assert "DATABASE_URL_FILE" not in data and data["PIPELINE_WORKERS"] == "1"
        assert {tuple(claim["accessModes"]) for claim in claims} == {("ReadWriteOnce",)}
    else:
        assert (api["replicas"], data["PIPELINE_WORKERS"]) == (3, "0")
        assert data["DATABASE_URL_FILE"] and data["PIPELINE_RATE_STORAGE_FILE"]
        assert {tuple(claim["accessModes"]) for claim in claims} == {("ReadWriteMany",)}
        spread = [one["topologyKey"] for one in everywhere(api["template"], "topologySpreadConstraints")[0]]
        assert spread == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
        assert named(overlay, "PodDisruptionBudget", "api")["spec"]["minAvailable"] < api["replicas"]


def test_figures_that_scaling_asks_for_are_ones_that_the_service_tells(overlay: str) -> None:
    if overlay == "single":
        assert not [one for one in rendered(overlay) if one["kind"] == "ScaledObject"]
        return
    told = (KUBERNETES.parents[1] / "api" / "metrics.py").read_text()
    (trigger,) = named(overlay, "ScaledObject")["spec"]["triggers"]
    asked = re.findall(r"audio_\w+", trigger["metadata"]["query"])
    assert asked and all(f'"{name}"' in told for name in asked)


def test_a_gpu_is_asked_for_where_there_are_gpus(overlay: str) -> None:
    gpus = everywhere(list(rendered(overlay)), "nvidia.com/gpu")
    assert bool(gpus) == (overlay == "gpu")
    if overlay == "gpu":
        (worker,) = [pod for pod in pods(overlay) if pod.name == "Deployment worker"]
        (container,) = worker.spec["containers"]
        assert {"name": "DEVICE", "value": "cuda"} in container["env"]
        assert {"name": "PIPELINE_WORKERS", "value": "1"} in container["env"]
        assert container["image"].endswith("-cuda")
        assert worker.spec["nodeSelector"] == {"nvidia.com/gpu.present": "true"}


def _made_secrets() -> str:
    script = KUBERNETES / "make-secrets.sh"
    return subprocess.run(["sh", str(script)], capture_output=True, text=True, check=True).stdout
