"""What an operator may set, from the environment and ``.env``. Only entry points build a `Settings`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import (
    AfterValidator,
    AliasGenerator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from api.host_names import is_host_pattern
from api.notifications.receivers import Receiver, receivers_of
from api.settings_types import (
    Cleanup,
    Level,
    Listed,
    Networks,
    OptionalRate,
    Ports,
    TimeOfDay,
    are_master_keys,
    as_rate,
    at_least,
    is_broker_url,
    listed,
    receivers,
    switched_off,
    visible,
)
from pipeline.codec.formats import choose_formats
from pipeline.config import Limits, PipelineConfig, WeightsConfig
from pipeline.errors import ConfigError
from pipeline.weights.registry import get_model_spec

MIB = 1 << 20

UNPREFIXED = frozenset(
    [
        "device", "api_host", "api_port", "logging_level", "max_file_size_mb", "job_retention_days",
        "api_key", "secret_key", "data_dir", "uploads_dir", "outputs_dir", "downloads_dir", "logs_dir",
        "database_url", "job_queue", "storage", "weights_dir", "weights_mirror", "weights_offline",
    ]
)  # fmt: skip
"""Settings whose variable is their name in capitals; all others begin with ``PIPELINE_``."""

_BUCKET: Final = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/.*)?")
_ORIGIN: Final = re.compile(r"https?://[^/\s?#]+")


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return name.upper() if name in UNPREFIXED else f"PIPELINE_{name.upper()}"


class Settings(BaseSettings):
    """Everything an operator may set. Build it with `api.settings_load.load_settings`.

    The text under a setting is its description in docs/settings.md and .env.example.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_name=True,
        validate_by_alias=True,
        alias_generator=AliasGenerator(validation_alias=variable),
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where models run. auto: on a GPU when there is one."""
    api_host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 is every one of the machine's."""
    api_port: int = Field(default=8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    logging_level: Level = "INFO"
    """DEBUG, INFO, WARNING, ERROR or CRITICAL. The audit log is written whatever this says."""
    max_file_size_mb: int = Field(default=500, ge=1, le=1 << 20)
    """Largest recording accepted, in MB of 1,048,576 bytes. A larger one is refused before it is read."""
    job_retention_days: int = Field(default=30, ge=0)
    """Days until a finished job's audio is deleted; its manifest stays. 0 keeps it for ever."""

    disk_cleanup_percent: Cleanup = None
    """How full, in percent, the disk of the results may be before the oldest finished jobs' audio is deleted
    ahead of its time; manifests stay. off: never."""
    log_days: int = Field(default=183, ge=1)
    """Days after which log files are deleted."""

    api_key: Annotated[SecretStr, AfterValidator(visible), at_least(8)] | None = None
    """A key with every scope. Without it one is made on the first start and shown once."""
    secret_key: Annotated[SecretStr, AfterValidator(visible), at_least(32)] | None = None
    """Signs tickets and hashes keys. Without it one is made in DATA_DIR/secret. Machines that share a
    database must share it."""

    data_dir: Path = Path("data")
    """Folder of the database, the secret and checkpoints."""
    uploads_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "uploads")
    """Folder of the recordings that were accepted; below DATA_DIR unless set."""
    outputs_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "outputs")
    """Folder of manifests and stems; below DATA_DIR unless set."""
    downloads_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "downloads")
    """Folder of what is being fetched from URLs; below DATA_DIR unless set."""
    logs_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "logs")
    """Folder of log files; below DATA_DIR unless set."""
    backup_dir: Path = Field(default_factory=lambda data: data["data_dir"] / "backups")
    """Folder of backups; below DATA_DIR unless set. It should be on another disk, and only for this user."""
    backup_repository: SecretStr | None = None
    """Repository of restic that backups go to instead: a folder, s3:https://host/bucket … It is encrypted."""
    backup_password: SecretStr | None = None
    """Password of that repository. Keep a copy elsewhere: without it no backup can be read."""
    backup_days: int = Field(default=30, ge=1)
    """Days for which every backup is kept."""
    backup_monthly_days: int = Field(default=365, ge=0)
    """Days for which the last backup of each month is kept."""
    encryption_keys: Annotated[SecretStr, AfterValidator(are_master_keys)] | None = None
    """Master keys: with one, all that jobs leave is encrypted. name:key, apart by commas; the first is used
    for what is new, the others still open what they were used for. See docs/ENCRYPTION.md."""
    encryption_command: str | None = Field(default=None, min_length=1)
    """Instead: a program that asks a key service, called with wrap or unwrap and the name of the key. See
    docs/ENCRYPTION.md."""
    encryption_command_key: str = Field(default="default", min_length=1, max_length=128)
    """Name of the key service's key."""
    database_url: SecretStr = Field(
        default_factory=lambda data: SecretStr(f"sqlite:///{data['data_dir'] / 'pipeline.db'}")
    )
    """SQLAlchemy's URL of the database; SQLite in DATA_DIR unless set. For several machines
    postgresql://user:word@host/name?sslmode=verify-full, with libpq's parameters behind the question mark."""

    storage: str | None = Field(default=None, min_length=1)
    """Where recordings and results are kept for all machines: s3://bucket/prefix, or a folder on a volume
    that all mount. UPLOADS_DIR and OUTPUTS_DIR then hold copies. Unset: they are all there is."""
    storage_endpoint: str | None = Field(default=None, pattern=r"^https?://[^/\s]+(:\d+)?/?$")
    """URL of a service that speaks like S3; AWS unless set. Credentials are found as by every AWS program."""
    storage_encryption: str = Field(default="", pattern=r"^(AES256|aws:kms(:[^\s]+)?)?$")
    """How S3 encrypts: AES256, aws:kms or aws:kms:<key id>. As the bucket says unless set."""
    storage_downloads: Literal["proxy", "redirect"] = "proxy"
    """proxy: files of results go through the API. redirect: it sends browsers to S3, by an address that works
    for PIPELINE_TICKET_S."""
    storage_cache_mb: int = Field(default=10240, ge=0)
    """MB of copies of results that stay here when STORAGE is set. Those used longest ago go first."""

    weights_dir: Path | None = None
    """Folder where weights are kept; the user's cache folder unless set."""
    weights_mirror: str | None = None
    """Folder or https URL that holds weight files and is asked first."""
    weights_offline: bool = False
    """Never use the network for weights."""

    model: str = Field(default="htdemucs", min_length=1)
    """Model of jobs that name none."""
    formats: Listed = Field(default=("flac",), min_length=1)
    """Formats of the stems of jobs that name none, comma-separated: flac, wav, mp3 …"""
    commercial_only: bool = False
    """Refuse models whose weights are licensed for research only."""
    accept_damaged: bool = False
    """Use what can be read of damaged recordings where a job does not say."""
    max_duration_s: float = Field(default=4 * 3600.0, gt=0, allow_inf_nan=False)
    """Longest recording accepted, in seconds; counted while decoding, not believed."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of one separation; one per core unless set."""

    workers: int = Field(default=1, ge=0, le=64)
    """Jobs that run at the same time, each in a process of its own. 0: none here."""
    job_queue: Literal["local", "celery"] = "local"
    """local: workers look for jobs by themselves. celery: they are told by Redis, on any number of machines;
    needs PostgreSQL. See docs/SCALING.md."""
    broker_url: Annotated[SecretStr, AfterValidator(is_broker_url)] | None = None
    """Redis that carries the messages of JOB_QUEUE=celery: redis://host:6379/0, or rediss://… for TLS."""
    queues: Annotated[tuple[Literal["cpu", "gpu", "priority"], ...], BeforeValidator(listed)] = Field(
        default=("cpu", "gpu", "priority"), min_length=1
    )
    """Kinds of jobs, comma-separated, that the workers of this machine are told of. Whatever nobody was told
    of is found by any worker a little later."""
    gpu_from_s: float = Field(default=1200.0, ge=0, allow_inf_nan=False)
    """Seconds of audio, times the networks of its model, from which a job is one for a GPU."""
    poll_s: float = Field(default=0.0, ge=0, le=600, allow_inf_nan=False)
    """Seconds from one look for jobs to the next. 0: 0.25 with JOB_QUEUE=local, 5 with celery."""
    worker_memory_mb: int = Field(default=0, ge=0)
    """MB of memory beyond which a worker is replaced between two jobs. 0: never."""
    split_minutes: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """With STORAGE: minutes of the stretches in which a longer recording is separated, each by any worker
    that finds no job to run. 0: every recording by one worker."""
    max_queued: int = Field(default=100, ge=1)
    """Jobs that may wait; more are answered 503."""
    lease_s: float = Field(default=20.0, ge=3, allow_inf_nan=False)
    """Seconds after which the job of a silent worker is given to another."""
    beat_s: float = Field(default=2.0, ge=0.2, le=60, allow_inf_nan=False)
    """Seconds from one sign of life of a running job, and of its progress, to the next; never more than a
    third of PIPELINE_LEASE_S. A cancelled job stops so much later. Longer ones spare the database."""
    worker_silence_s: float = Field(default=120.0, ge=3, allow_inf_nan=False)
    """Seconds after which a worker that shows no sign of life is killed and replaced."""
    max_attempts: int = Field(default=3, ge=1)
    """How often a job whose worker dies is begun again."""
    grace_s: float = Field(default=25.0, ge=0, allow_inf_nan=False)
    """Seconds that running jobs are given to end when the service stops; then they are handed back."""
    model_ttl_s: float = Field(default=900.0, ge=0, allow_inf_nan=False)
    """Seconds after which a worker that has nothing to do gives the memory of its model back, on the GPU too;
    the next job loads it again. 0 keeps it."""
    stage_warn_s: float = Field(default=300.0, gt=0, allow_inf_nan=False)
    """Seconds after which a stage that is still running is logged as a warning."""
    job_timeout_s: float = Field(default=600.0, gt=0, allow_inf_nan=False)
    """Seconds that any job may take."""
    job_timeout_factor: float = Field(default=10.0, ge=0, allow_inf_nan=False)
    """Seconds more that a job may take for each second of its recording."""
    disk_reserve_mb: int = Field(default=1024, ge=0)
    """MB that stay free on each disk: work that would use them is answered 507."""
    separation_cache_mb: int = Field(default=4096, ge=0)
    """MB for separations of finished jobs, in DATA_DIR: a job that asks for another format, stem or estimator
    of the same recording uses them. Those used longest ago go first, all when space is short. 0: none."""
    listening_cache_mb: int = Field(default=1024, ge=0)
    """MB for recordings and lossy stems that were decoded to be listened to, in DATA_DIR. Those listened to
    longest ago go first; the last one stays."""
    memory_reserve_mb: int = Field(default=512, ge=0)
    """MB of memory that stay free: a job that would use them waits."""

    rate_process: OptionalRate = "10/hour"
    """Requests to POST /process allowed to each key, such as 10/hour or 5/minute;100/day. off: any number."""
    rate_default: OptionalRate = None
    """The same for each other route that needs a key."""
    rate_routes: Listed = ()
    """The same for single routes, comma-separated: POST /estimate=60/minute, GET /jobs=off."""
    rate_refused: OptionalRate = "60/minute"
    """Requests without a key or with a bad one answered to each address; more get 429."""
    rate_storage: SecretStr = SecretStr("memory://")
    """Where requests are counted: memory://, or redis://… where several machines serve."""
    root_path: str = Field(default="", pattern=r"^(/[A-Za-z0-9._~-]+)*$")
    """Path below which a proxy shows the API, such as /api; so that /docs finds what it needs."""
    body_idle_s: float = Field(default=60.0, ge=1, le=3600, allow_inf_nan=False)
    """Seconds without a byte after which a request that is still being sent is answered 408."""
    trusted_proxies: Networks = ()
    """Addresses or networks, comma-separated, whose X-Forwarded-For is believed. Nobody's unless set."""
    cors_origins: Listed = ("http://localhost:8501", "http://127.0.0.1:8501")
    """Origins of web pages, comma-separated, whose scripts may call the API, as the browser interface does:
    https://ui.example.org. Unless set that of this machine."""
    ticket_s: int = Field(default=900, ge=10, le=86400)
    """Seconds that a signed URL for playback, download or upload is valid."""
    batch_items: int = Field(default=1000, ge=1, le=100_000)
    """Recordings that one batch may name; each counts as a request to POST /process when its turn comes."""
    import_dir: Path | None = None
    """Folder on the server whose recordings batches may name by their paths; every key that may submit may
    read all of them. Machines that serve the API must all have it. Unset: there is none."""
    upload_expiry_s: int = Field(default=86400, ge=60)
    """Seconds after its last byte at which a resumable upload that became no job is deleted."""
    upload_count: int = Field(default=20, ge=1)
    """Resumable uploads that each owner may have that are no jobs yet."""
    upload_total_mb: int = Field(default=5120, ge=1)
    """MB that these may have together."""
    idempotency_s: int = Field(default=86400, ge=60)
    """Seconds for which the answer to an Idempotency-Key is remembered."""

    url_ingest: bool = False
    """Whether recordings are also fetched from https URLs. on needs PIPELINE_URL_HOSTS."""
    url_hosts: Listed = Field(default=(), validate_default=True)
    """Hosts, comma-separated, that recordings are fetched from: media.example.org is that host,
    *.example.org every host below."""
    url_timeout_s: float = Field(default=120.0, gt=0, le=3600, allow_inf_nan=False)
    """Seconds that fetching one recording may take, redirects included."""
    outbound_networks: Networks = ()
    """Private addresses or networks, comma-separated, that URLs of users may lead to, by plain http too and
    at any port. None unless set: only public addresses are reached."""
    outbound_ports: Ports = Field(default=(443,), min_length=1)
    """Ports of public addresses, comma-separated, that URLs of users may lead to."""
    webhook_timeout_s: float = Field(default=15.0, gt=0, le=30, allow_inf_nan=False)
    """Seconds that the receiver of a webhook may take to answer."""
    webhook_log_days: int = Field(default=30, ge=1)
    """Days for which it is kept what became of webhooks."""

    notify_urls: Annotated[SecretStr, AfterValidator(receivers)] | None = None
    """Who is told of failed jobs, of a service that takes no work, and daily of how it went: apprise's URLs
    (mailto://, slack://, pagerduty://, json:// …), commas or blanks between them. One after
    failures|summary|admission= hears of those alone."""
    notify_failures: Literal["service", "all"] = "service"
    """all: also of jobs whose recording is no audio, or broken."""
    notify_interval_s: float = Field(default=900.0, ge=10, allow_inf_nan=False)
    """Seconds from one message about failed jobs to the next: all that fail meanwhile are in one."""
    notify_summary_at: TimeOfDay = "07:00"
    """Time of day, UTC, of the daily summary; off: there is none."""

    log_format: Literal["json", "console"] = "json"
    """json: one object a line. console: for people at a terminal."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what is passed in counts: the entry points read the environment, by `load_settings`."""
        return (init_settings,)

    @field_validator("rate_routes")
    @classmethod
    def _are_rates(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for part in value:
            route, _, rate = part.partition("=")
            method, _, path = route.strip().partition(" ")
            if not (method.isupper() and path.startswith("/") and rate.strip()):
                raise ValueError("should read like POST /estimate=60/minute, GET /jobs=off")
            if switched_off(rate) is not None:
                as_rate(rate.strip())
        return value

    @field_validator("model")
    @classmethod
    def _is_model(cls, value: str) -> str:
        try:
            return get_model_spec(value).name
        except ConfigError as exc:
            raise ValueError(f"{exc.message} {exc.hint}".removesuffix(".")) from exc

    @field_validator("formats")
    @classmethod
    def _are_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        try:
            choose_formats(value)
        except ConfigError as exc:
            raise ValueError(f"{exc.message} {exc.hint}".removesuffix(".")) from exc
        return value

    @field_validator("storage")
    @classmethod
    def _is_storage(cls, value: str | None) -> str | None:
        if value is not None and "://" in value and not _BUCKET.fullmatch(value):
            raise ValueError("should be s3://bucket/prefix, or a folder")
        return value

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for origin in value:
            # Browsers send no path and no blank (RFC 6454, section 6.2): another one would never be found.
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError("should read like https://ui.example.org, without a path")
        return value

    @field_validator("url_hosts")
    @classmethod
    def _are_hosts(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        hosts = tuple(part.lower() for part in value)
        for host in hosts:
            if not is_host_pattern(host):
                raise ValueError("should read like media.example.org, *.example.net; xn--… for other letters")
        if info.data.get("url_ingest") and not hosts:
            raise ValueError(
                "should name the hosts that recordings are fetched from; PIPELINE_URL_INGEST is on"
            )
        return hosts

    @property
    def max_file_bytes(self) -> int:
        """Size of the largest recording accepted."""
        return self.max_file_size_mb * MIB


def told_by(settings: Settings) -> tuple[Receiver, ...]:
    """Who is told of what happens to the service."""
    return () if settings.notify_urls is None else receivers_of(settings.notify_urls.get_secret_value())


def pipeline_defaults(settings: Settings) -> PipelineConfig:
    """The options and limits of a job whose owner chose none."""
    return PipelineConfig(
        model=settings.model,
        device=settings.device,
        formats=settings.formats,
        commercial_only=settings.commercial_only,
        accept_damaged=settings.accept_damaged,
        threads=settings.threads,
        limits=Limits(max_bytes=settings.max_file_bytes, max_duration_s=settings.max_duration_s),
        weights=WeightsConfig(
            cache_dir=settings.weights_dir,
            mirror=settings.weights_mirror,
            offline=settings.weights_offline,
        ),
    )
