"""Recordings: rosbag2 and folders of frames. Reading, writing, making, playing and recording."""
