from typing import final

@final
class JournalMap: ...
