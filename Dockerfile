# Masks of the scans in a mounted folder, by an ordinary user; the input may be mounted read-only.
#   docker build -t chaos_seg .                                                                             # CPU
#   docker build -t chaos_seg:cuda --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu126 .         # CUDA
#   docker run --rm --user "$(id -u):$(id -g)" -v "$PWD/scans:/in:ro" -v "$PWD/masks:/out" \
#     -v "$PWD/best.ckpt:/model.ckpt:ro" chaos_seg ckpt=/model.ckpt input=/in output=/out
# With CUDA: docker run --gpus all ..., which needs the NVIDIA Container Toolkit.
FROM python:3.12-slim

ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONUNBUFFERED=1
# A user of any number, who need not have a name or a home here.
ENV HOME=/tmp USER=chaos_seg MPLCONFIGDIR=/tmp/matplotlib NO_ALBUMENTATIONS_UPDATE=1

WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE ./
RUN pip install --constraint constraints.txt --index-url "$TORCH_INDEX" torch
COPY conf conf
COPY chaos_seg chaos_seg
RUN pip install --constraint constraints.txt ".[clinical,codecs]"

USER 1000:1000
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "chaos_seg.predict"]
CMD ["--help"]
