package closer

// WithDefaults is for a test that compares the defaults with those of the settings.
var WithDefaults = Config.withDefaults
