# docker build -t nerv360 .
# docker run --rm -v "$PWD:/work" nerv360 encode film.mp4 -o film.nerv360
# docker run --rm -v "$PWD:/work" -p 8360:8360 nerv360 play film.nerv360 --host 0.0.0.0 --no-browser
# with a GPU, which draws nerv360-grid: --device /dev/dri, or --gpus all -e NVIDIA_DRIVER_CAPABILITIES=graphics
FROM python:3.11-slim
RUN apt-get update && apt-get install -y --no-install-recommends libegl1 libgl1 libgl1-mesa-dri && rm -rf /var/lib/apt/lists/*
COPY pyproject.toml README.md LICENSE constraints.txt /source/
COPY src /source/src
RUN pip install --no-cache-dir -c /source/constraints.txt '/source[cpu,gpu,play,shots]' && rm -r /source
RUN useradd --create-home nerv360
USER nerv360
WORKDIR /work
EXPOSE 8360
ENTRYPOINT ["nerv360"]
