# Runs any atft-hpo command as uid 10001, with the shared volume at /volume. See docs/operations.md.
#
#   docker build -t atft-hpo .
#   docker build -t atft-hpo --build-arg TORCH_INDEX_URL=<index> .
#   docker build -t atft-hpo --build-arg BASE_IMAGE=debian:bookworm-slim .
#
# BASE_IMAGE       Debian or a relative, with or without Python; 3.11 or newer must be to be had
# TORCH_INDEX_URL  index that torch alone comes from: the one PyTorch's "Get started" page names
#                  for CPU or for your CUDA; empty: pip's default index (on Linux x86-64: CUDA)
# PIP_EXTRA_ARGS   more arguments of every `pip install`, such as a mirror; kept in the build's
#                  history, so no passwords: mount a pip.conf for those
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS base
# libgomp1: OpenMP, which LightGBM's wheel looks for in the system.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 \
         $(command -v python3 >/dev/null || echo python3) \
    && rm -rf /var/lib/apt/lists/*

FROM base AS build
RUN python3 -c 'import ensurepip' 2>/dev/null \
    || { apt-get update && apt-get install --yes --no-install-recommends python3-venv \
         && rm -rf /var/lib/apt/lists/*; }
RUN python3 -m venv /opt/atft-hpo
ENV PATH=/opt/atft-hpo/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
WORKDIR /build
ARG TORCH_INDEX_URL=""
ARG PIP_EXTRA_ARGS=""
# Dependencies before the code: a change of the code leaves this layer in the cache.
COPY constraints.txt pyproject.toml ./
RUN python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
      > requirements.txt \
    && { [ -z "$TORCH_INDEX_URL" ] \
         || pip install $PIP_EXTRA_ARGS -c constraints.txt --no-deps --index-url "$TORCH_INDEX_URL" torch; } \
    && pip install $PIP_EXTRA_ARGS -c constraints.txt -r requirements.txt
COPY LICENSE README.md ./
COPY atft_hpo atft_hpo
RUN pip install $PIP_EXTRA_ARGS -c constraints.txt --no-deps . \
    && pip uninstall --yes pip

FROM base
RUN groupadd --gid 10001 atft-hpo \
    && useradd --uid 10001 --gid 10001 --create-home --shell /usr/sbin/nologin atft-hpo \
    && install --directory --owner=10001 --group=10001 /volume
COPY --from=build /opt/atft-hpo /opt/atft-hpo
COPY studies /app/studies
WORKDIR /app
ENV PATH=/opt/atft-hpo/bin:$PATH \
    ATFT_HPO_VOLUME=/volume \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    PYTHONUNBUFFERED=1
VOLUME /volume
USER 10001:10001
ENTRYPOINT ["atft-hpo"]
CMD ["--help"]
