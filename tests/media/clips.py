"""Tiny videos for the tests, as phones write them: H.264 with names in their tags."""

import io

import av
import numpy as np


def encode(images, kind="mp4", *, tags=None, sound=False, rate=25):
    """Encode pictures, uint8 (h, w, 3) each, with even sides."""
    out = io.BytesIO()
    with av.open(out, "w", format=kind, options={"movflags": "use_metadata_tags"} if tags else {}) as container:
        container.metadata.update(tags or {})
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        voice = container.add_stream("aac", rate=16000) if sound else None
        for image in images:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")))
        container.mux(stream.encode(None))
        if voice is not None:
            wave = np.sin(np.arange(16000) / 9).astype(np.float32)[None]
            frame = av.AudioFrame.from_ndarray(wave, format="fltp", layout="mono")
            frame.rate = 16000
            container.mux(voice.encode(frame))
            container.mux(voice.encode(None))
    return out.getvalue()


def decode(data):
    """Return the pictures of a video, uint8 (h, w, 3) each."""
    with av.open(io.BytesIO(data)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def apple_video(images, identifier, **options):
    """A QuickTime file as an iPhone writes it beside a Live Photo, with the place where it was taken."""
    tags = {"com.apple.quicktime.content.identifier": identifier,
            "com.apple.quicktime.location.ISO6709": "+52.5200+013.4050/"}  # fmt: skip
    return encode(images, "mov", tags=tags, **options)
