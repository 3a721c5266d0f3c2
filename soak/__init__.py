"""The soak: an operator at work for long, under faults, and whether it is afterwards what it was before.

``python -m soak`` (``make soak``) runs two parts. *real*: a quarter of an hour, one process of its own, HTTPS to an
embedded server in another one, through a link that breaks. *virtual*: a day on virtual time with a million changes,
against the embedded server in the same process. Both end with the same questions: has memory grown, are tasks or
connections left over, does the cache equal the server, has every object been reconciled at its last generation?
"""
