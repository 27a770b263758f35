# Read by cpack: packages of one build go together.
set(version ${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})
set(CPACK_DEBIAN_DEVELOPMENT_PACKAGE_DEPENDS "libnimsync0 (= ${version})")
set(CPACK_DEBIAN_TOOL_PACKAGE_DEPENDS "libnimsync0 (>= ${CPACK_PACKAGE_VERSION})")
# What its maintainer scripts call.
set(CPACK_DEBIAN_DAEMON_PACKAGE_DEPENDS "systemd, init-system-helpers (>= 1.54)")
