package report

// For the external tests, which boot guests with a package that imports this one.
var BuildCrash = buildCrash
