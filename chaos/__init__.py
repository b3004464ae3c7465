"""Kill, stop and disturb the processes of queues, pools and process objects, and count what it cost.

``python -m chaos --seconds 60 --seed 7 queue`` runs one rig, without a name all. A rig uses the public
interface only, keeps an account of its own of all that was submitted and delivered, and compares at
the end. ``--plant lost|twice|torn|leak`` puts a fault behind the rig's back, which it has to find: that
shows that it can.
"""

from __future__ import annotations
