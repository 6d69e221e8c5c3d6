# The trainer and its launcher, for every scheduler; `launch.worker` is its command.
#   docker build -t trainer .                                CPUs
#   docker build -t trainer --build-arg EXTRA="tensorflow[and-cuda]==2.21.0" .   NVIDIA GPUs
FROM python:3.11-slim

ARG EXTRA=""
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app
COPY requirements.txt .
RUN pip install --requirement requirements.txt ${EXTRA:+"$EXTRA"}

COPY trainer trainer
COPY eval eval
COPY export export
COPY launch launch
COPY configs configs

# The modules are found from any directory, such as a volume that is mounted elsewhere.
ENV PYTHONPATH=/app
# Exec form: the trainer itself gets the signals and its exit code is the container's.
ENTRYPOINT []
CMD ["python", "-m", "launch.worker"]
