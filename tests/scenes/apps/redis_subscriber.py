"""Subscribes to a channel of a Redis server of loopback, and never reads a message."""
import signal
import sys

import redis

subscriber = redis.Redis(host="127.0.0.1", port=int(sys.argv[1])).pubsub()
subscriber.subscribe("channel")
subscriber.get_message(timeout=30)
print("ready")
signal.pause()
