package pull

// APIPrefix is for tests.
var APIPrefix = apiPrefix
