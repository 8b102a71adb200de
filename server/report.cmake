# The reports: JSON from the tables. No verbs, so that the unit tests can have them.
if(NOT TARGET rmem_report)
	add_library(rmem_report STATIC
		${CMAKE_CURRENT_LIST_DIR}/report.c
		${CMAKE_CURRENT_LIST_DIR}/report_evidence.c
		${CMAKE_CURRENT_LIST_DIR}/report_leaks.c
		${CMAKE_CURRENT_LIST_DIR}/report_map.c
		${CMAKE_CURRENT_LIST_DIR}/report_parts.c)
	target_link_libraries(rmem_report PUBLIC rmem_core PkgConfig::JANSSON)
endif()
