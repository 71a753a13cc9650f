"""An uploaded clip: `python -m simulator.clips.probe FILE` prints width, height and seconds as JSON."""

import json
import sys

import av


def main() -> None:
    with av.open(sys.argv[1]) as container:
        stream = container.streams.video[0]
        seconds = (container.duration or 0) / av.time_base
        json.dump({"width": stream.width, "height": stream.height, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
