"""Characters: clips whose subject a prompt may name."""

import secrets
import time
from collections.abc import Sequence

from simulator.calls import Call
from simulator.clips.rendering import Clips
from simulator.http import validation
from simulator.http.answers import Answer
from simulator.http.errors import character_not_found, invalid
from simulator.state.store import Store


class Characters:
    """The handlers; each raises ApiError for a refusal."""

    def __init__(self, store: Store, clips: Clips) -> None:
        self._store = store
        self._clips = clips

    async def create(self, call: Call) -> Answer:
        body = call.body
        if body.is_json:
            raise invalid(None, "Characters are created with 'multipart/form-data'.")
        name = validation.character_name(body)
        clip = await self._clips.probe(validation.character_clip(body).data)
        if clip is None or not clip.fits_character():
            raise invalid(
                "video", "A character is a clip of 2 to 4 seconds in 16:9 or 9:16, from 720p to 1080p."
            )
        now = time.time()
        character_id = f"char_{int(now):08x}{secrets.token_hex(20)}"
        self._store.add_character(character_id, name, now)
        return Answer.of({"id": character_id, "name": name, "created_at": int(now)})

    async def retrieve(self, call: Call) -> Answer:
        character_id = call.request.match_info["character_id"]
        found = self._character(character_id)
        return Answer.of({"id": character_id, "name": found[0], "created_at": int(found[1])})

    def check(self, ids: Sequence[str], prompt: str) -> None:
        for character_id in ids:
            if (name := self._character(character_id)[0]) not in prompt:
                raise invalid("prompt", f"The prompt must contain the character's name '{name}'.")

    def _character(self, character_id: str) -> tuple[str, float]:
        """Name and creation time. Raises ApiError."""
        found = self._store.character(character_id)
        if found is None:
            raise character_not_found(character_id)
        return found
