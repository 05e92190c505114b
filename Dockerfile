# syntax=docker/dockerfile:1
# The API, the browser interface, the worker and every command of the product: one image. docs/DEPLOYMENT.md has its use.

# Any image of Debian 12 or later with Python 3.11 (with venv) as python3.11.
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

# ---- what building and running share --------------------------------------------------------------------------
# hadolint ignore=DL3006
FROM ${PYTHON_IMAGE} AS base
# Debian's stable release keeps versions and mends them: pinned ones would keep its security updates out.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ffmpeg libsndfile1 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*.bin /var/cache/ldconfig/aux-cache \
        /var/log/apt /var/log/dpkg.log /var/log/alternatives.log

# ---- the packages ---------------------------------------------------------------------------------------------
FROM base AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /build
# cpu, or cuda: the CUDA libraries come as packages, so the machine needs the driver and the NVIDIA container toolkit.
ARG TORCH=cpu
# One more package index for torch, such as the CPU wheel index on PyTorch's "Get Started" page.
ARG TORCH_INDEX_URL=
# yes: with what sends traces by OpenTelemetry (docs/MONITORING.md).
ARG TRACING=
ENV PIP_CACHE_DIR=/var/cache/pip
RUN python3.11 -m venv /opt/venv && python3.11 -m venv /opt/sbom
COPY scripts/packages.sh scripts/requirements-networks.txt scripts/requirements-lyrics.txt scripts/
COPY scripts/requirements-tracing.txt scripts/
COPY requirements.txt ./
# A secret pip.conf (--secret id=pip.conf,src=…) says where packages come from, where the default does not do.
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    bash scripts/packages.sh /opt/venv "${TORCH}" \
    && if [ "${TRACING}" = yes ]; then \
        /opt/venv/bin/python -m pip install --no-deps -r scripts/requirements-tracing.txt; \
    fi \
    && /opt/venv/bin/python -m pip uninstall --yes pip
COPY deploy/container/requirements-sbom.txt deploy/container/sbom.py deploy/container/
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    /opt/sbom/bin/python -m pip install --no-deps -r deploy/container/requirements-sbom.txt
COPY pipeline pipeline
RUN /opt/sbom/bin/python deploy/container/sbom.py /opt/venv >/opt/sbom.cdx.json
# Names of models whose weights become part of the image: for private use without a network, because most may not be
# passed on (docs/models.md). Containers copy them from here to WEIGHTS_DIR.
ARG BAKE_WEIGHTS=
# Where these come from, if not from where they were published: an URL, as of the setting WEIGHTS_MIRROR.
ARG WEIGHTS_MIRROR=
RUN mkdir /opt/weights && for model in ${BAKE_WEIGHTS}; do \
        /opt/venv/bin/python -m pipeline models fetch "${model}" --weights-dir /opt/weights; \
    done

# ---- what runs ------------------------------------------------------------------------------------------------
FROM base
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG TORCH=cpu
ARG BAKE_WEIGHTS=
LABEL org.opencontainers.image.title="Audio Pipeline" \
    org.opencontainers.image.description="Takes a song apart: stems, musical analysis, manifest." \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.documentation="docs/DEPLOYMENT.md" \
    audio-pipeline.torch="${TORCH}" \
    audio-pipeline.weights="${BAKE_WEIGHTS}" \
    audio-pipeline.sbom="/usr/share/audio-pipeline/sbom.cdx.json"

RUN groupadd --gid 10001 pipeline \
    && useradd --uid 10001 --gid pipeline --no-create-home --home-dir /tmp --shell /usr/sbin/nologin pipeline \
    && install --directory --owner pipeline --group pipeline --mode 0700 \
        /app/data /app/uploads /app/outputs /app/downloads /app/logs /app/weights

COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/weights /usr/share/audio-pipeline/weights
COPY --from=build /opt/sbom.cdx.json /usr/share/audio-pipeline/sbom.cdx.json
WORKDIR /app
COPY LICENSE ./
COPY .streamlit/config.toml .streamlit/
COPY scripts/run.sh scripts/health.py scripts/self_signed.py scripts/
COPY pipeline pipeline
COPY api api
COPY ui ui
# Readable for the user above whatever the checkout's modes are, and compiled, because nothing is written later.
RUN chmod -R a+rX,go-w . && python3.11 -m compileall -q api pipeline ui

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp \
    XDG_CACHE_HOME=/tmp/cache \
    NUMBA_CACHE_DIR=/tmp/cache/numba \
    API_HOST=0.0.0.0 \
    UI_HOST=0.0.0.0 \
    DATA_DIR=/app/data \
    UPLOADS_DIR=/app/uploads \
    OUTPUTS_DIR=/app/outputs \
    DOWNLOADS_DIR=/app/downloads \
    LOGS_DIR=/app/logs \
    WEIGHTS_DIR=/app/weights \
    WEIGHTS_MIRROR=${BAKE_WEIGHTS:+/usr/share/audio-pipeline/weights} \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility

USER 10001:10001
VOLUME ["/app/data", "/app/uploads", "/app/outputs", "/app/downloads", "/app/logs", "/app/weights"]
EXPOSE 8000 8501
# Of the API and the browser interface. A container of one of them names it: scripts/health.py api.
HEALTHCHECK --interval=30s --timeout=15s --start-period=60s --retries=3 CMD ["python", "scripts/health.py"]
ENTRYPOINT ["tini", "--", "scripts/run.sh"]
