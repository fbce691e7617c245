# The image of a training job: make image IMAGE=NAME, then docker push NAME, then NAME in the cluster's description.
# Packages come first and code last: a change of code pushes a layer of a few megabytes.
FROM python:3.11-slim AS base
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PYTHONUNBUFFERED=1
WORKDIR /app
# setuptools builds the code below without a network; constraints.txt has the versions of all others
RUN pip install setuptools==80.9.0
COPY constraints.txt requirements.txt requirements-gcs.txt ./

FROM base AS cuda-packages
COPY requirements-cuda.txt ./
RUN pip install --constraint constraints.txt -r requirements.txt -r requirements-gcs.txt -r requirements-cuda.txt

FROM base AS tpu-packages
COPY requirements-tpu.txt ./
RUN pip install --constraint constraints.txt -r requirements.txt -r requirements-gcs.txt -r requirements-tpu.txt

# NVIDIA GPUs: make image IMAGE=NAME IMAGE_KIND=cuda. No user of the host has this number; what the job writes is mounted.
FROM cuda-packages AS cuda
COPY pyproject.toml README.md LICENSE requirements*.txt ./
COPY lst_jax lst_jax
RUN pip install --no-deps --no-build-isolation . && rm -r build lst_jax lst_jax.egg-info
COPY configs configs
RUN useradd --uid 10001 --create-home lst
USER 10001
CMD ["lst", "--help"]

# TPUs, and what is built where nothing else is asked for. It stays root: libtpu opens the host's devices, which only
# root of a privileged container may.
FROM tpu-packages AS tpu
COPY pyproject.toml README.md LICENSE requirements*.txt ./
COPY lst_jax lst_jax
RUN pip install --no-deps --no-build-isolation . && rm -r build lst_jax lst_jax.egg-info
COPY configs configs
CMD ["lst", "--help"]
