# Targets: server (the Prefect server and its services), cpu and gpu (workers; the same packages, torch's plain build
# carries CUDA). docker build --target cpu -t diptych:cpu .
FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 \
    DO_NOT_TRACK=1 PREFECT_SERVER_ANALYTICS_ENABLED=false PREFECT_SERVER_UI_V2_ENABLED=false \
    RAY_USAGE_STATS_ENABLED=0
RUN useradd --uid 10001 --create-home diptych
WORKDIR /opt/diptych
COPY pyproject.toml constraints.txt README.md LICENSE prefect.yaml ./
COPY src src
COPY flows flows
COPY tasks tasks

FROM base AS server
RUN pip install --constraint constraints.txt ".[server,s3]" && chown diptych /opt/diptych
USER 10001
WORKDIR /home/diptych

FROM base AS worker
# libgl1, libglib2.0-0: opencv-contrib, which the OCR packages bring, is not headless.
RUN apt-get update && apt-get install -y --no-install-recommends libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
# A CPU-only torch: --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's CPU wheels>, and both torch and torchvision from there.
ARG PIP_EXTRA_INDEX_URL=""
RUN pip install --constraint constraints.txt ".[demo,bert,export,metrics,parse,proposals,ray,s3,server,tracking,vectors]"
COPY datasets /home/diptych/datasets
RUN mkdir -p /home/diptych/weights /home/diptych/.cache/diptych && chown -R 10001 /home/diptych
ENV DIPTYCH_WEIGHTS=/home/diptych/weights
USER 10001
WORKDIR /home/diptych

FROM worker AS cpu
CMD ["prefect", "worker", "start", "--pool", "cpu", "--limit", "4"]

FROM worker AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
CMD ["prefect", "worker", "start", "--pool", "gpu", "--limit", "1"]
