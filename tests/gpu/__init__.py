"""Checks on a real GPU. They fail where it is missing; nothing here skips.

    python -m tests.gpu.check_gpu --device cuda --out tests/bench/results/check_gpu.json
    python -m tests.gpu.check_encoders --scratch FOLDER --out tests/bench/results/check_encoders.json
    REELRANK_GPU=1 python -m pytest tests/gpu

The first two print what agrees and how fast it is: decoding and `signal`, then encoders of models, which need
reelrank[hf]. The last runs the same comparisons as tests; without REELRANK_GPU=1 pytest collects nothing
here. The first and the last need reelrank[gpu] (torchcodec), a CUDA build of torch,
FFmpeg's shared libraries (Debian: apt-get install ffmpeg) and, to decode, a GPU with a video engine and
libnvcuvid.so.1, which NVIDIA's driver brings; a container is given it by
NVIDIA_DRIVER_CAPABILITIES=compute,utility,video.

With `--device cpu` the script checks itself: the same comparison, torchcodec on the CPU in the GPU's place.
"""
