return await Scheduler.Worker.CommandLine.Commands.RunAsync(args, Console.Out, Console.Error);
