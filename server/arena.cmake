# The server's memory and what must be known before it is lent: testable without the server.
if(NOT TARGET rmem_arena)
	add_library(rmem_arena STATIC
		${CMAKE_CURRENT_LIST_DIR}/arena.c
		${CMAKE_CURRENT_LIST_DIR}/cgroup.c
		${CMAKE_CURRENT_LIST_DIR}/datadir.c
		${CMAKE_CURRENT_LIST_DIR}/destroy.c
		${CMAKE_CURRENT_LIST_DIR}/limits.c
		${CMAKE_CURRENT_LIST_DIR}/loopback.c
		${CMAKE_CURRENT_LIST_DIR}/origin.c
		${CMAKE_CURRENT_LIST_DIR}/pool.c
		${CMAKE_CURRENT_LIST_DIR}/pool_open.c
		${CMAKE_CURRENT_LIST_DIR}/probe.c
		${CMAKE_CURRENT_LIST_DIR}/proof.c)
	target_link_libraries(rmem_arena PUBLIC rmem_core rmem_numa rmem_verbs rmem_common)
endif()
