/*
 * filesystem/xattr: extended attributes.
 *
 * Catches: values that are cut silently, lists without their ends, flags ignored, attributes lost by rename.
 */
#include "contract.h"
#include <sys/xattr.h>

int main(void)
{
	char b[64];
	close(must(open("f", O_RDWR | O_CREAT, 0600)));
	observe("set: %s", result(setxattr("f", "trusted.one", "value", 5, 0)));
	memset(b, 0, sizeof b);
	observe("get: %s", result(getxattr("f", "trusted.one", b, sizeof b)));
	observe("  %s, size asked %s", b, result(getxattr("f", "trusted.one", NULL, 0)));
	fails(getxattr("f", "trusted.one", b, 2), ERANGE);
	fails(getxattr("f", "trusted.none", b, 2), ENODATA);
	fails(setxattr("f", "trusted.one", "x", 1, XATTR_CREATE), EEXIST);
	fails(setxattr("f", "trusted.two", "x", 1, XATTR_REPLACE), ENODATA);
	fails(setxattr("f", "strange.name", "x", 1, 0), EOPNOTSUPP);
	must(rename("f", "g"));
	memset(b, 0, sizeof b);
	observe("after rename: %s", result(getxattr("g", "trusted.one", b, sizeof b)));
	observe("list: %s", result(listxattr("g", b, sizeof b)));
	observe("  %s", b);
	must(removexattr("g", "trusted.one"));
	fails(removexattr("g", "trusted.one"), ENODATA);
	observe("list: %s", result(listxattr("g", b, sizeof b)));
	return contract_end();
}
