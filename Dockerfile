# docker build -t nerv360 .
# docker run --rm -v "$PWD:/work" nerv360 encode film.mp4 -o film.nerv360
# docker run --rm -v "$PWD:/work" -p 8360:8360 nerv360 play film.nerv360 --host 0.0.0.0 --no-browser
FROM python:3.11-slim
COPY pyproject.toml README.md LICENSE constraints.txt /source/
COPY src /source/src
RUN pip install --no-cache-dir -c /source/constraints.txt '/source[cpu,play,shots]' && rm -r /source
RUN useradd --create-home nerv360
USER nerv360
WORKDIR /work
EXPOSE 8360
ENTRYPOINT ["nerv360"]
