# One interface target carries the warnings and the instrumentation for everything we compile.
add_library(rmem_flags INTERFACE)
target_include_directories(rmem_flags INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_SOURCE_DIR}/include)
target_compile_definitions(rmem_flags INTERFACE _GNU_SOURCE RMEM_VERSION="${PROJECT_VERSION}")
target_compile_options(rmem_flags INTERFACE
	-Wall -Wextra -Wshadow -Wmissing-prototypes -Wwrite-strings -Wformat=2 -Wvla
	-fno-omit-frame-pointer -fno-common)
if(RMEM_WERROR)
	target_compile_options(rmem_flags INTERFACE -Werror)
endif()
if(RMEM_SANITIZE)
	target_compile_options(rmem_flags INTERFACE
		-fsanitize=${RMEM_SANITIZE} -fno-sanitize-recover=all)
	target_link_options(rmem_flags INTERFACE -fsanitize=${RMEM_SANITIZE})
endif()
if(RMEM_COVERAGE)
	target_compile_options(rmem_flags INTERFACE --coverage)
	target_link_options(rmem_flags INTERFACE --coverage)
endif()
if(RMEM_FUZZ)
	# What libFuzzer steers by; its main() is linked into the targets only (tests/fuzz).
	target_compile_options(rmem_flags INTERFACE -fsanitize=fuzzer-no-link)
	target_link_options(rmem_flags INTERFACE -fsanitize=fuzzer-no-link)
endif()
