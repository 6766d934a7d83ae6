/**
 * Preloaded into every test process: programs that a test starts run as a user starts them, without
 * the runner's hooks. tap adds its loaders to the environment of every child through the package
 * process-on-spawn, whose state under this symbol can take its wrapper back.
 */
globalThis[Symbol.for('process-on-spawn@*:singletonId')]?.unwrap()
delete process.env['NODE_OPTIONS']
