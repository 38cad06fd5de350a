package kafka

type StalledError = stalledError
