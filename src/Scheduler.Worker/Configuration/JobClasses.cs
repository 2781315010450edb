using System.Reflection;
using Quartz;

namespace Scheduler.Worker.Configuration;

/// <summary>The job classes that the configuration may name: public, concrete Quartz jobs in the configured assemblies.</summary>
internal sealed class JobClasses
{
    private readonly List<Type> _types = [];

    /// <summary>Looks into the assemblies.</summary>
    /// <param name="assemblies">Simple names of assemblies beside the executable.</param>
    /// <param name="errors">Gets one sentence per assembly that cannot be loaded.</param>
    public JobClasses(IEnumerable<string> assemblies, ICollection<string> errors)
    {
        foreach (var name in assemblies)
        {
            try
            {
                var assembly = Assembly.Load(new AssemblyName(name));
                _types.AddRange(
                    assembly.GetExportedTypes().Where(t => t is { IsClass: true, IsAbstract: false } && t.IsAssignableTo(typeof(IJob)))
                );
            }
            catch (Exception e) when (e is IOException or BadImageFormatException or ArgumentException or ReflectionTypeLoadException)
            {
                errors.Add(
                    $"Scheduler:JobAssemblies names '{name}', which cannot be loaded; it must be the simple name of an assembly beside "
                        + "the executable, for example Payments.Jobs."
                );
            }
        }
    }

    /// <summary>Finds a class by simple or full name.</summary>
    /// <param name="name">The name.</param>
    /// <param name="setting">The key in the configuration that carries it.</param>
    /// <param name="errors">Gets a sentence when there is not exactly one.</param>
    public Type? Find(string name, string setting, ICollection<string> errors)
    {
        var found = _types.Where(t => t.Name.Equals(name, StringComparison.Ordinal) || t.FullName == name).Distinct().ToList();
        if (found.Count == 1)
        {
            return found[0];
        }
        errors.Add(
            found.Count == 0
                ? $"{setting} names the job class '{name}', which does not exist; near: {Names.Near(name, _types.Select(t => t.Name))}."
                : $"{setting} names the job class '{name}', and there are several: {string.Join(", ", found.Select(t => t.FullName))}; "
                    + "give the full name of one as Type."
        );
        return null;
    }
}
