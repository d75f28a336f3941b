"""Read and write videos, folders of frames and live streams: pictures, times, colours, side tracks (extra `video`)."""
