// Command payload is a guest of bare stores for the tests of page tracing and watchpoints. Its entry points are
// assembly symbols; CPUs but 0 halt unless the entry says otherwise. In the direct map from 16 MiB of RAM on lie: two pages
// that tests watch (0 and 0x1000), one for what they say (0x2000), one of stack (0x3000).
package main

func main() {}
