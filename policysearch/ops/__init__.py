"""Operations: what they are (`registry`, one table per modality) and how they are computed.

The tables load no torch; the kernels beside them do and are imported on first use.
"""
