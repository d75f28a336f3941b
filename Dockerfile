# The review desk. Build: docker build -t styleid . Run: see compose.yaml and docs/serve.md.
FROM python:3.12-slim-bookworm
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE THIRD_PARTY.md ./
COPY src src
# opencv-python needs the system's libGL, which this image lacks; the headless build takes its place.
RUN pip install --no-cache-dir -c constraints.txt '.[web,video]' \
 && pip install --no-cache-dir --no-deps --force-reinstall opencv-python-headless \
 && useradd --create-home --uid 10001 desk && install -d -m 700 -o desk -g desk /data
USER desk
VOLUME /data
EXPOSE 8765
ENTRYPOINT ["styleid", "serve", "--data", "/data"]
CMD ["--host", "0.0.0.0", "--allow-insecure"]
