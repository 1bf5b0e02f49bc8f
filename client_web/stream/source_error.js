/** No picture to send; `message` says how to get one. */
export class SourceError extends Error {}
